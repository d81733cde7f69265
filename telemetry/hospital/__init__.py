"""A pump as the hospital's systems see one: an IEEE 11073 SDC provider (read only), and FHIR R5 resources."""
