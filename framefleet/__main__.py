"""``python -m framefleet``: the command line."""

from framefleet.launcher.cli.main import start

if __name__ == "__main__":
    start()
