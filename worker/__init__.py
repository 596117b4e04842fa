"""A host of the cluster: its agent, its slot processes, and the extraction that they do."""

if __name__ != "framefleet.worker":  # else there would be two of each of its modules
    raise ImportError("this folder is the package framefleet.worker: import it by that name")
