"""What mlflow-console adds to an MLflow server's own environment.

Three parts that know nothing of each other: the lock (:mod:`~mlflow_console_server.lock`), the
supervisor (``python -m mlflow_console_server``) and the demo data
(``python -m mlflow_console_server.demo``). This file imports none of them, so that the
supervisor starts without MLflow.
"""
