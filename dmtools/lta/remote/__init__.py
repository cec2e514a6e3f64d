"""The part of lta at the remote site: what lta-nersc-client does. Standard library, click, requests and tenacity only.

The same modules make the one file to carry (`build`), so nothing here may import settings, ledger or msgspec.
"""
