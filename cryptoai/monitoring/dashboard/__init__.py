"""The web page of one bot: `create_app` makes it, `serve` runs it. Everything it shows comes from the bot's journal."""

from cryptoai.monitoring.dashboard.app import create_app
from cryptoai.monitoring.dashboard.server import serve

__all__ = ["create_app", "serve"]
