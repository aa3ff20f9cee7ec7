# make up     a Kubernetes cluster (kind) with the operator, a Kafka cluster and a topic in it
# make down   removes it
# make run    one broker without Kubernetes, on port 9092, data in ./data
# make test   everything that CI runs
# make bench  Apache Kafka and ours in turn, measured (BENCH=--quick: whether that works)
# make lint   the part of it that runs nothing
# make images the three images, from the binaries that cargo builds
# make clean  what the above leave in this directory

TARGET  := $(or $(CARGO_TARGET_DIR),target)
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

.PHONY: up down run test bench lint images clean

up: images
	VERSION=$(VERSION) kind/up.sh ottla kind/cluster.yaml
	kind/demo.sh ottla

down:
	kind/down.sh ottla

run:
	cargo run --release --bin ottla-broker

test:
	TARGET=$(TARGET) VERSION=$(VERSION) tools/test.sh

bench:
	cargo build --release --locked --bin ottla-broker --bin ottla-bench
	$(TARGET)/release/ottla-bench run --peers "$$(tests/setup.sh)" --output $(TARGET)/bench-results --disk $(TARGET)/bench-data $(BENCH)

lint:
	TARGET=$(TARGET) tools/lint.sh

images:
	kind/engine.sh
	tools/images.sh $(TARGET) $(VERSION)

clean:
	cargo clean
	rm -rf data
