// franz-go, whose own tests tests/setup.sh builds to run them against us (tests/blackbox/test_franz_go.py).
module ottla.dev/tests/franz-go

go 1.26.0

require github.com/twmb/franz-go v1.22.2
