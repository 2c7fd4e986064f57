"""A bill for people and for programs: as text, as CSV, and as a page in PDF.

Amounts are exact in each of them. The PDF's own letters are those of Latin-1; others need a font file.
"""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.amounts import format_amount, to_decimal
from wallet.billing import Bill, Party
from wallet.quantities import format_day, format_energy, format_time

CSV_COLUMNS = (
    "meter",
    "number",
    "from",
    "to",
    "taken_kwh",
    "given_kwh",
    "energy_watt",
    "standing_watt",
    "export_watt",
    "earlier_credit_watt",
    "due_watt",
    "late_fee_watt",
    "paid_watt",
    "open_watt",
    "issued_at",
    "due_at",
)
FONT_SUFFIXES = (".ttf", ".otf")
_LABEL_WIDTH = 26
_AMOUNT_WIDTH = 32


def period_text(bill: Bill) -> str:
    """The first and the last day that are on it."""
    return f"{format_day(bill.start_day)} to {format_day(max(bill.start_day, bill.end_day - 1))}"


def bill_rows(bill: Bill, zone_s: int) -> list[tuple[str, str, str]]:
    """What a bill is made of: what, how much, and wei as an amount; nothing for what is not on it."""
    rows = [("Energy taken", format_energy(bill.imported_wh), format_amount(bill.energy_wei))]
    if bill.standing_wei:
        rows.append(("Standing charge", "", format_amount(bill.standing_wei)))
    if bill.exported_wh or bill.export_wei:
        rows.append(("Energy given", format_energy(bill.exported_wh), format_amount(-bill.export_wei)))
    if bill.earlier_credit_wei > 0:
        rows.append(("Credit carried over", "", format_amount(-bill.earlier_credit_wei)))
    if bill.earlier_credit_wei < 0:
        rows.append(("Carried to later bills", "", format_amount(-bill.earlier_credit_wei)))
    rows.append(("To be paid", f"until {format_time(bill.due_at_s, zone_s)}", format_amount(bill.due_wei)))
    if bill.fee_wei:
        rows.append(("Late fee", percent_text(bill.late_fee_basis_points), format_amount(bill.fee_wei)))
    if bill.paid_wei:
        rows.append(("Paid", "", format_amount(-bill.paid_wei)))
    rows.append(("Still open", "", format_amount(bill.open_wei)))
    return rows


def percent_text(basis_points: int) -> str:
    """Hundredths of a percent as a percentage: "3.33 %"."""
    whole, rest = divmod(basis_points, 100)
    return f"{whole}.{rest:02}".rstrip("0").rstrip(".") + " %"


def head_lines(bill: Bill, party: Party) -> list[tuple[str, str]]:
    """Whose bill, from whom, for what time."""
    tariff = f"{party.tariff_name}, number {party.tariff}" if party.tariff else "none"
    return [
        ("Bill", f"number {bill.number}, issued {format_time(bill.issued_at_s, party.zone_s)}"),
        ("Period", period_text(bill)),
        ("Meter", to_checksum_address(party.meter)),
        ("Customer", to_checksum_address(party.owner)),
        ("Supplier", to_checksum_address(party.supplier)),
        ("Tariff", tariff),
    ]


def as_text(bill: Bill, party: Party) -> str:
    """For a terminal."""
    lines = [line for line in (party.supplier_name, party.supplier_description) if line]
    if lines:
        lines.append("")
    lines += [f"{label:<10}{text}" for label, text in head_lines(bill, party)]
    lines.append("")
    quantity_width = max([len(quantity) for _, quantity, _ in bill_rows(bill, party.zone_s)])
    for label, quantity, amount in bill_rows(bill, party.zone_s):
        lines.append(f"{label:<{_LABEL_WIDTH}}{quantity:<{quantity_width}}{amount:>{_AMOUNT_WIDTH}}")
    return "\n".join(lines)


def as_csv(bills: Sequence[Bill], party: Party) -> str:
    """A line for each bill, for a spreadsheet: energy in kWh and money in WATT, exact, times by the supplier's clock;
    `to` is the last day that is on it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for bill in bills:
        energy = (bill.imported_wh, bill.exported_wh)
        money = (
            bill.energy_wei,
            bill.standing_wei,
            bill.export_wei,
            bill.earlier_credit_wei,
            bill.due_wei,
            bill.fee_wei,
            bill.paid_wei,
            bill.open_wei,
        )
        writer.writerow(
            (
                to_checksum_address(party.meter),
                bill.number,
                format_day(bill.start_day),
                format_day(max(bill.start_day, bill.end_day - 1)),
                *[format_energy(one).removesuffix(" kWh") for one in energy],
                *[to_decimal(one) for one in money],
                format_time(bill.issued_at_s, party.zone_s),
                format_time(bill.due_at_s, party.zone_s),
            )
        )
    return text.getvalue()


def as_pdf(bill: Bill, party: Party, font: Path | None = None) -> bytes:
    """A page. Letters beyond Latin-1 become ? unless a TrueType or OpenType font has them. Raises UserError for a font
    that cannot be used."""
    from fpdf import FPDF  # loaded here, since no other command needs its memory

    if font is not None:
        _check_font(font)
    page = FPDF(format="A4")
    page.set_creation_date(datetime.fromtimestamp(min(bill.issued_at_s, 2**34), UTC))
    page.set_title(f"Bill {bill.number}")
    page.set_margin(20)
    page.set_auto_page_break(True, margin=20)
    page.add_page()
    family = "helvetica"
    if font is not None:
        family = "given"
        for style in ("", "B"):
            page.add_font(family, style, font)

    def fit(text: str) -> str:
        return text if font is not None else text.encode("latin-1", "replace").decode("latin-1")

    def line(text: str, size: float, style: str = "", height: float = 6) -> None:
        page.set_font(family, style, size)
        page.multi_cell(0, height, fit(text), align="L", new_x="LMARGIN", new_y="NEXT")

    line(party.supplier_name or "Electricity bill", 18, "B", 9)
    if party.supplier_description:
        line(party.supplier_description, 10, "", 5)
    page.ln(6)
    for label, text in head_lines(bill, party):
        page.set_font(family, "B", 10)
        page.cell(28, 6, label)
        page.set_font(family, "", 10)
        page.cell(0, 6, fit(text), new_x="LMARGIN", new_y="NEXT")
    page.ln(6)
    bold = {"To be paid", "Still open"}
    for label, quantity, amount in bill_rows(bill, party.zone_s):
        page.set_font(family, "B" if label in bold else "", 10)
        top: Literal[0] | str = "T" if label in bold else 0
        page.cell(45, 7, label, border=top)
        page.cell(60, 7, fit(quantity), border=top)
        page.cell(0, 7, amount, border=top, align="R", new_x="LMARGIN", new_y="NEXT")
    page.ln(8)
    line(f"Pay with: wattchain bill pay {to_checksum_address(party.meter)} {bill.number}", 8, "", 4)
    line("Computed by the ledger from the readings that the meter has signed. 1 WATT is 10^18 wei.", 8, "", 4)
    return bytes(page.output())


def _check_font(font: Path) -> None:
    """Raises UserError where it cannot be used. The page's library would leave a wrong file open."""
    from fontTools.ttLib import TTFont, TTLibError

    try:
        if font.suffix.lower() not in FONT_SUFFIXES:
            raise UserError(f"The font {font} cannot be used: its name must end in {' or '.join(FONT_SUFFIXES)}.")
        TTFont(io.BytesIO(font.read_bytes())).getBestCmap()
    except (OSError, TTLibError) as error:
        raise UserError(f"The font {font} cannot be used: {error}.") from error
