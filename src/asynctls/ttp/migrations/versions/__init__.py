"""One module a revision; ``asynctls.ttp.schema.REVISION`` names the latest."""
