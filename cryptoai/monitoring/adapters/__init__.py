"""Monitoring's vendors: Prometheus' text format."""
