"""What hosts and the coordinator say to one another, and how it travels."""
