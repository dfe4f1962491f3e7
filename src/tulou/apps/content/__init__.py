"""Content generation: texts written from editable templates and the facts that search finds."""
