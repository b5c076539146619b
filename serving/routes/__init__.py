"""The API's paths, a module for each thing asked about."""
