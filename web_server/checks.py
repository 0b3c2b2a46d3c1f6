"""Deployment mistakes as Django system checks: `python manage.py check --deploy` names them."""
