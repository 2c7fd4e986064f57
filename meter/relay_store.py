"""What relay and policies remember over a restart: a few texts in the meter's database, written when they change.

Also how `wattchain meter status`, another process, learns how they are doing.
"""

from meter.database import RELAY_MEMORY, Database, DiskFull

# The largest is a known account with a tariff of 16 steps and 16 times of use: some 12 KiB.
MAX_TEXT_CHARACTERS = 65_536


class RelayStore:
    """Keys and texts. Writing the same text again costs nothing: an SD card bears only so many writes."""

    def __init__(self, database: Database, *, is_writable: bool = True) -> None:
        self._database = database
        self._known: dict[str, str] = {}
        if is_writable:
            with database.transaction() as connection:
                connection.execute(f"CREATE TABLE IF NOT EXISTS {RELAY_MEMORY}")

    def get(self, key: str) -> str | None:
        with self._database.reading() as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'relay_memory'").fetchone():
                return None  # written by a program that knew of no such memory
            row = connection.execute("SELECT value FROM relay_memory WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, text: str) -> None:
        """Raises ValueError for more than belongs here."""
        if len(text) > MAX_TEXT_CHARACTERS:
            raise ValueError(f"{key} is {len(text)} characters long")
        if self._known.get(key) == text or (key not in self._known and self.get(key) == text):
            self._known[key] = text
            return
        try:
            with self._database.transaction() as connection:
                connection.execute(
                    "INSERT INTO relay_memory VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    (key, text),
                )
        except DiskFull as error:
            self._database.left_out("What relay and policy remember", error)
        else:
            self._known[key] = text
