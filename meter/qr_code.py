"""A QR code for a terminal: an address that is scanned is not mistyped."""

import io

import segno


def qr_text(text: str) -> str:
    """The code, made of letters."""
    drawn = io.StringIO()
    segno.make_qr(text).terminal(drawn, compact=True)
    return drawn.getvalue().rstrip("\n")
