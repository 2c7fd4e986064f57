"""A few small values that a meter keeps in its database, by name; each is written when it changes, which is rare."""

from meter.database import Database, DiskFull


class KeptValues:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> str | None:
        with self._database.reading() as connection:
            row = connection.execute("SELECT value FROM kept_values WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set(self, name: str, value: str) -> None:
        """Left out where the disk is full: what it is then told again after a start is true as well."""
        try:
            with self._database.transaction() as connection:
                connection.execute("INSERT OR REPLACE INTO kept_values VALUES (?, ?)", (name, value))
        except DiskFull as error:
            self._database.left_out(f"The {name}", error)
