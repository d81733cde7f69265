"""The pump as an IEEE 11073 SDC provider: read only, generation mode Test. Importing its modules needs ``sdc11073``."""
