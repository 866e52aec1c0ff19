"""The annotation app's pages. `router` has the routes; `web.assets` is to be mounted at /static.

The pages need a Content-Security-Policy of no more than
`default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';
form-action 'self'; base-uri 'none'; frame-ancestors 'none'`.
"""

from fastapi import APIRouter

from accord.web.pages import (
    account,
    admitting,
    assisting,
    dashboard,
    labelling,
    managing,
    qualifying,
    red_teaming,
    webhooks,
)

router = APIRouter(include_in_schema=False)
router.include_router(labelling.router)
router.include_router(account.router)
router.include_router(dashboard.router)
router.include_router(managing.router)
router.include_router(webhooks.router)
router.include_router(assisting.router)
router.include_router(admitting.router)
router.include_router(qualifying.router)
router.include_router(red_teaming.router)
