"""The report of a whole run, made from the files of its directory alone."""
