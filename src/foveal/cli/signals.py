"""What SIGTERM does where nothing has to be saved."""


class Terminated(BaseException):
    """SIGTERM came where nothing has to be saved."""
