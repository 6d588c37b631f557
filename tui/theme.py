"""The two colour themes. Every colour lies in the 256-colour cube: a plain SSH session shows the same."""

import os

from textual.theme import Theme

DARK = Theme(
    name="finetui-dark",
    primary="#5fafd7",
    secondary="#87afaf",
    accent="#d7af87",
    warning="#d7af5f",
    error="#ff8787",
    success="#87d787",
    foreground="#dadada",
    background="#1c1c1c",
    surface="#262626",
    panel="#303030",
    dark=True,
    variables={
        "block-cursor-background": "#005f87",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-text-style": "bold",
        "button-focus-text-style": "bold",
        "border": "#5fafd7",
        "border-blurred": "#4e4e4e",
        "footer-background": "#262626",
        "footer-key-foreground": "#5fafd7",
        "input-selection-background": "#005f87",
        "scrollbar": "#4e4e4e",
        "scrollbar-background": "#262626",
    },
)

LIGHT = Theme(
    name="finetui-light",
    primary="#005f87",
    secondary="#5f5f87",
    accent="#875f00",
    warning="#875f00",
    error="#af0000",
    success="#005f00",
    foreground="#1c1c1c",
    background="#ffffff",
    surface="#eeeeee",
    panel="#e4e4e4",
    dark=False,
    variables={
        "block-cursor-background": "#afd7ff",
        "block-cursor-foreground": "#1c1c1c",
        "block-cursor-text-style": "bold",
        "button-focus-text-style": "bold",
        "border": "#005f87",
        "border-blurred": "#b2b2b2",
        "footer-background": "#eeeeee",
        "footer-key-foreground": "#005f87",
        "input-selection-background": "#87d7ff",
        "scrollbar": "#b2b2b2",
        "scrollbar-background": "#eeeeee",
    },
)


def fitting(environ: os._Environ[str] | dict[str, str] = os.environ) -> str:
    """The theme that fits the terminal's background, where it tells (COLORFGBG: "15;0"); else dark."""
    background = environ.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT.name if background in ("7", "15") else DARK.name
