"""Refusals in the vendor's form."""

from crossdock.sandbox.engine.problems import Problem


class AdyenProblem(Problem):
    """A `ServiceError`: status, Adyen's own code, and the type, which says whose fault it is."""

    def __init__(self, status: int, code: str, message: str, error_type: str = "validation") -> None:
        super().__init__(status, message, code)
        self.body = {"status": status, "errorCode": code, "message": message, "errorType": error_type}


def not_simulated(what: str) -> AdyenProblem:
    return AdyenProblem(422, "702", f"The sandbox does not simulate {what}")
