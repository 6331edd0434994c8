"""
The benchmark of the sync: our flow functions beside other loaders, on one source and one database.

`source` and `worker` are programs of their own; `processes` starts and measures them; `rounds` takes turns;
`figures` judges and `report` writes down.
"""
