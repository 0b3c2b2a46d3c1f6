"""Pages of lists."""

from rest_framework.pagination import PageNumberPagination


class Pages(PageNumberPagination):
    """Page by number; ``?page_size`` up to 1000."""

    page_size = 50
    page_size_query_param = "page_size"
    # One answer of 1000 rows is about 1 MB and half a second on a small server.
    max_page_size = 1000
