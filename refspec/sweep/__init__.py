"""`refspec sweep`: an experiment of many cells, on as many processes or machines as Dask distributed has.

`plan` makes the cells, `cell` runs one, `results` keeps the rows so that a killed sweep goes on where it was, `cluster` is all
that knows of Dask, which schedules.
"""
