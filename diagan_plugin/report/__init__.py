"""The diagnosis, added to the report of a run; the way in is `dia_sections.add_dia_sections`."""

DIAGNOSIS_FILE = "diagnosis.safetensors"
