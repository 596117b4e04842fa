"""A host of the cluster: its agent, its slot processes, and the extraction that they do."""
