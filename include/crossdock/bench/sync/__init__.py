"""
The benchmark of the sync: our three tasks beside other loaders, with one source and one database.

`source` and `worker` are programs; `processes` starts and measures them; `rounds` interleaves the loaders; `figures`
computes medians and ratios, and `outcome` the verdicts and the report.
"""
