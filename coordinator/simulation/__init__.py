"""The real core in a made-up world: a seeded clock, virtual hosts, and links that fail.

Nothing here touches a socket, a file, a thread or the system's clock, and all chance comes from a
``random.Random`` that is given: a seed is a world, and its run can be had again. The command that prints
results is ``coordinator/simulation/__main__.py``.
"""
