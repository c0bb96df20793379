# Two commands do everything, each with all of its own set-up:
#   make demo    the main job: broker, database, three handlers, the task exchange's events
#   make test    every test, with the tier on a real Apache Kafka where a JDK and Maven are present
# Others: make sim SEEDS=n [SEED=s] [RELAYS=1], make mutants [LIST=room], make chaos ROUNDS=n [SEED=s] [PROTOCOL=consumer]
# [EFFECTS=sqlite|postgres|kafka], make lint, make components, make bench [EFFECTS=1], make clean.

CARGO ?= cargo
WASM_TARGET := wasm32-wasip2
WASM_DIR := target/$(WASM_TARGET)/component
HANDLERS := accounting email analytics
GUESTS := $(notdir $(wildcard tests/guests/*))

# librdkafka and the mail client use the system's OpenSSL; where its headers are missing it is built
# from source, which takes minutes and a Perl.
#
# Cargo unites features over what it is asked to build: asked for the whole workspace each time, it
# builds every dependency once, for the demo and for the tests.
WORKSPACE := --workspace $(shell pkg-config --exists openssl 2>/dev/null || echo --features keylane/vendored-openssl)

.PHONY: demo test lint components guests wasm-target bench sim mutants chaos clean

demo: components
	$(CARGO) build $(WORKSPACE) --bin keylane
	target/debug/keylane demo

test: lint components guests
	$(CARGO) test $(WORKSPACE)

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(WORKSPACE) --all-targets -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --offline check bans licenses sources; \
	else echo "left out: cargo-deny is not installed (cargo install cargo-deny)"; fi

# The handlers as components, each beside its manifest.
components: wasm-target
	$(CARGO) build --target $(WASM_TARGET) --profile component $(addprefix -p ,$(HANDLERS))
	@for handler in $(HANDLERS); do cp $(WASM_DIR)/$$handler.wasm handlers/$$handler/; done

# The hostile components of the tests.
guests: wasm-target
	$(CARGO) build --target $(WASM_TARGET) --profile component $(addprefix -p guest-,$(GUESTS))

# What keylane costs, on Apache Kafka. Not a test. CPU seconds per million records beside a bare consumer loop; with
# EFFECTS=1 handlers that write to a database, exactly once, beside a consumer written by hand (half an hour).
bench: guests
	$(CARGO) build --release $(WORKSPACE) --bin keylane --bin keylane-bench
	target/release/keylane-bench $(if $(EFFECTS),effects)

# Rounds of faults on three brokers of Apache Kafka and three hosts, judged by an independent checker.
# A round that failed is played again alone by its seed: make chaos ROUNDS=1 SEED=s
# With EFFECTS=sqlite or EFFECTS=postgres the handlers write rows and send records and mails, each of which must
# happen once; with EFFECTS=kafka they send records by Kafka's transactions.
chaos: guests
	$(CARGO) build $(WORKSPACE) --bin keylane --bin keylane-chaos
	target/debug/keylane-chaos --rounds $(or $(ROUNDS),3) $(addprefix --seed ,$(SEED)) $(addprefix --protocol ,$(PROTOCOL)) \
		$(addprefix --effects ,$(EFFECTS))

# Simulated worlds of hosts, brokers and faults, each drawn from a seed; SEED=s replays one with its trace. With
# RELAYS=1 those of the relays that empty an outbox.
sim:
	$(CARGO) build $(WORKSPACE) --bin keylane-sim --bin keylane-relays
	target/debug/keylane-$(if $(RELAYS),relays,sim) $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),500))

# Breaks the rooms on purpose, one line at a time in a copy (target/mutants), and sees whether tests and simulation
# notice: host/ROOM/mutants.toml. Takes hours; LIST=lanes|engine|effects|guest|kafka tries one room alone, and
# ONLY=part those whose name or file contains it.
mutants: guests
	$(CARGO) build $(WORKSPACE) --bin keylane-mutants
	target/debug/keylane-mutants $(LIST) $(addprefix --only ,$(ONLY)) $(filter-out --workspace,$(WORKSPACE))

wasm-target:
	@rustc --print target-libdir --target $(WASM_TARGET) 2>/dev/null | xargs -r test -d || rustup target add $(WASM_TARGET)

clean:
	$(CARGO) clean
