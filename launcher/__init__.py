"""What runs on the user's side: the command line, where a job runs, its output, reports, plans, exports."""

if __name__ != "framefleet.launcher":  # else there would be two of each of its modules
    raise ImportError("this folder is the package framefleet.launcher: import it by that name")
