# SPDX-License-Identifier: Apache-2.0
# Targets of the deferral model; included by the Makefile in the root.

.PHONY: model model-traces deferral-soak deferral-trace

# Spin on every protocol, counterexample and dropped constraint; and the
# explorer, which has no bounds, on the protocols and on the library's steps.
model: ## the proof of the deferral protocol; part of make test
	go run ./model/cmd/model -install
	go test -count=1 -run 'TestProtocols|TestDropped' -v ./model/explore
	go test -count=1 -run 'TestExplore|TestSeededBugs' ./deferral
	go test -count=1 -run '$(EXPLORATIONS)' ./internal/hold ./internal/record ./internal/observe # not part of test-unit
	DEFERRAL_SOAK=10000000 go test -count=1 -run TestSoak -v ./deferral # a tenth of deferral-soak

model-traces: ## docs/model-traces anew
	go run ./model/cmd/model -install -run '^(c|a|2)[0-9]' -traces docs/model-traces

deferral-soak: ## deferral: 10^8 operations on real threads; part of make soak
	DEFERRAL_SOAK=100000000 go test -count=1 -run TestSoak -v -timeout 20m ./deferral

deferral-trace: ## deferral: 10^7 posts to an isolated CPU, with the tracer watching, on each kernel
	CGO_ENABLED=0 go test -count=1 -tags soak -timeout 30m -run '^TestVMPosts$$' -v ./internal/cli
