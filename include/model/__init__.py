"""The hub's words: frozen types, errors and pure rules. Imports the standard library and msgspec only."""
