"""The diagnosis, added to the report of a run; the way in is `sections.add_dia_sections`."""
