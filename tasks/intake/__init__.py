"""Any raw log to the canonical one: read, checked, put in order, and every bad row accounted for."""
