"""The example's settings. The database is told by a URL, when it is known."""

from urllib.parse import parse_qsl, unquote, urlsplit

INSTALLED_APPS = ["seats"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "seats.backend"}}
USE_TZ = True


def database(dsn, **options):
    """What is said of a database in DATABASES, beside its engine."""
    url = urlsplit(dsn)
    return {
        "NAME": unquote(url.path[1:]),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": url.hostname,
        "PORT": url.port,
        "CONN_MAX_AGE": None,  # it is kept; the default is to connect for every request
        "OPTIONS": dict(parse_qsl(url.query)) | options,
    }
