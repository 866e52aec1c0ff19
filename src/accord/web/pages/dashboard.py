"""The lead's page."""

from fastapi import APIRouter

router = APIRouter()
