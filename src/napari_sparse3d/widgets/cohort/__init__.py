"""The Cohort panel: many cases embedded, on a map, and the ones most like the open case."""
