"""What a host is: its folders, its place in the cluster, its cores, its memory."""
