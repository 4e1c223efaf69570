"""Clients of foreign systems; only composition roots import from here."""
