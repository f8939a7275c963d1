"""Cases: one way from a path, a table, a folder or a packed set to volumes, to voxels and to rows of a table.

====================  ================================================================================
:mod:`.case`          what a case is
:mod:`.labels`        what a label says: missing, a number, a class
:mod:`.sources`       which cases a path holds
:mod:`.folders`       labelled sets that are folders
:mod:`.packed`        labelled sets in one file
:mod:`.splits`        what the sides of a split are called
:mod:`.tables`        the rows of a CSV or Parquet table
:mod:`.read`          a case becomes a volume, and a voxel set
:mod:`.facts`         what is known of that volume without its voxels
:mod:`.identity`      what tells a series from all others: its own place, its content
:mod:`.groups`        what must stay on one side of a split
:mod:`.run`           a case is read, voxelised, run and written down
:mod:`.ahead`         the next cases are read while the network runs
:mod:`.record`        the columns of that, one Arrow schema, and what tables of earlier versions meant
:mod:`.seen`          what a model was trained on, and whether a case is like it
:mod:`.measured`      which cases of a labelled set a model is measured on
:mod:`.parts`         a table that is made over hours
:mod:`.store`         the cache of voxel sets
====================  ================================================================================
"""
