"""Every step of finetui without the wizard."""

from core.cli.app import app, main

__all__ = ["app", "main"]
