"""Framefleet: frames out of many videos, on many hosts.

In a clone, the folders beside this file are links to those at the top: a module is ``framefleet.*``.
"""
