"""A pump as FHIR R5 resources. They are plain data; ``checking`` holds them against ``fhir.resources``."""
