"""Files that are whole or not there, that nobody leads astray, and that are gone when the process is."""
