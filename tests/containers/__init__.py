"""Real containers: deploy/Dockerfile is built and docker-compose.yml is run by Docker Compose, with Podman as engine.

`make test-containers` runs these tests, on Debian as root. No image registry is asked: Debian's packages are the base
image, and stand-ins for the images of Kafka, Redis, Prometheus and Alertmanager. Nothing of it touches this machine's
network or its own containers, and nothing is left but the images, in ~/.cache/engagement-containers. Where packages
can't be had the tests are skipped, in CI too, and the end of the run says for want of what.
"""
