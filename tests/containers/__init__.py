"""Real containers: deploy/Dockerfile is built, and docker-compose.yml is run by Docker Compose with Podman as engine.

`make test-containers` runs these tests, on Debian as root; `make test-all`, which CI runs, runs them beside all others.
No image registry is needed: the base image, and the images that stand in for those of Kafka, Redis, Prometheus and
Alertmanager, are built from Debian's packages. The containers have a network and a process tree of their own, which
end with the tests. What stays are the images, in ~/.cache/engagement-containers. Where the packages can't be had, or
the kernel refuses containers, the tests are skipped and the reason is printed, in CI too.
"""
