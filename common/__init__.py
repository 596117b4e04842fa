"""What every part of Framefleet must agree on: cluster, job, messages, sampling, names, reports."""

if __name__ != "framefleet.common":  # else there would be two of each of its modules
    raise ImportError("this folder is the package framefleet.common: import it by that name")
