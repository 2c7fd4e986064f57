"""How a round of synchronisation can end early. Whose fault it was is counted at the session where it happens."""


class RoundEnded(Exception):
    """This peer leads no further now; it rests, and others are tried."""


class BranchLeft(RoundEnded):
    """The peer's chain does not go on from the last header."""


class NotAhead(Exception):
    """The peer has nothing that is missing here, and that is no fault of its own."""
