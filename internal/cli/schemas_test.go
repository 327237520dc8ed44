// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/taskiso/taskiso/internal/partition"
)

// strictly compiles a part of a schema in docs so that it allows no field it does not describe: what is printed is all
// there, and with its type.
func strictly(t *testing.T, name, part string) *jsonschema.Schema {
	t.Helper()
	schema, err := compileStrictly(name, part)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func compileStrictly(name, part string) (*jsonschema.Schema, error) {
	text, err := os.ReadFile(filepath.Join("../../docs", name+".schema.json"))
	if err != nil {
		return nil, err
	}
	schema, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		return nil, err
	}
	forbidOthers(schema)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("file:///strict.json", schema); err != nil {
		return nil, err
	}
	return c.Compile("file:///strict.json" + part)
}

func forbidOthers(schema any) {
	switch s := schema.(type) {
	case []any:
		for _, part := range s {
			forbidOthers(part)
		}
	case map[string]any:
		if _, ok := s["properties"]; ok && s["type"] == "object" {
			s["additionalProperties"] = false
		}
		for _, part := range s {
			forbidOthers(part)
		}
	}
}

func validateStrictly(t *testing.T, what, name, part, text string) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%s: parsing %.200q: %v", what, text, err)
	}
	if err := strictly(t, name, part).Validate(v); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// What commands print as JSON is what the schemas in docs describe, no more and no less.
func TestSchemasOfCommands(t *testing.T) {
	host := capturedMachine(t)
	file := filepath.Join(t.TempDir(), "report.json")
	text, err := os.ReadFile(savedReport(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args         []string
		schema, part string
	}{
		{[]string{"doctor"}, "doctor", "#/$defs/doctorAnswers"},
		{[]string{"doctor", "-c", "1", "--host", host}, "doctor", "#/$defs/grade"},
		{[]string{"entries"}, "entries", ""},
		{[]string{"explain"}, "explain", "#/$defs/causeList"},
		{[]string{"explain", "tick"}, "explain", "#/$defs/explainedCause"},
		{[]string{"explain", file}, "explain", "#/$defs/explainedReport"},
		{[]string{"partition", "plan", "-c", "1", "--host", host}, "partition", "#/$defs/plan"},
		{[]string{"partition", "boot", "-c", "1", "--host", host}, "partition", "#/$defs/boot"},
		{[]string{"partition", "create", "-c", "1", "--partition", "none", "--host", host}, "partition", "#/$defs/created"},
		{[]string{"partition", "list", "--host", host}, "partition", "#/$defs/partitionList"},
		{[]string{"partition", "show", "default", "--host", host}, "partition", "#/$defs/record"},
		{[]string{"partition", "verify", "default", "--host", host}, "partition", "#/$defs/verification"},
		{[]string{"partition", "undo", "default", "--host", host}, "partition", "#/$defs/undonePartitions"},
		{[]string{"partition", "recover", "--host", host}, "partition", "#/$defs/undonePartitions"},
	} {
		_, out, errs := partitionProgram(t, append(tc.args, "--json")...)
		if !json.Valid([]byte(out)) {
			t.Errorf("%q printed %.200q and %q", tc.args, out, errs)
			continue
		}
		validateStrictly(t, strings.Join(tc.args, " "), tc.schema, tc.part, out)
		validateStrictly(t, strings.Join(tc.args, " "), tc.schema, "", out)
	}
}

// TestSchemasHaveEveryField: also fields that the outputs above have no reason for are in the schema.
func TestSchemasHaveEveryField(t *testing.T) {
	for _, tc := range []struct {
		value  any
		schema string
		part   string
	}{
		{partition.Plan{}, "partition", "plan"},
		{partition.Boot{}, "partition", "boot"},
		{partition.Created{}, "partition", "created"},
		{partition.Verification{}, "partition", "verification"},
		{partition.Record{}, "partition", "record"},
		{partition.Grade{}, "doctor", "grade"},
	} {
		text, err := os.ReadFile(filepath.Join("../../docs", tc.schema+".schema.json"))
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Defs map[string]node `json:"$defs"`
		}
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		for _, missing := range doc.Defs[tc.part].lacks(reflect.TypeOf(tc.value), doc.Defs) {
			t.Errorf("docs/%s.schema.json: %s has no %s", tc.schema, tc.part, missing)
		}
	}
}

// node is what a schema says of a value.
type node struct {
	Ref        string          `json:"$ref"`
	Properties map[string]node `json:"properties"`
	Items      *node           `json:"items"`
}

// lacks returns the fields of a type that are not described.
func (n node) lacks(of reflect.Type, defs map[string]node) (fields []string) {
	if n.Ref != "" {
		n = defs[strings.TrimPrefix(n.Ref, "#/$defs/")]
	}
	switch {
	case of.Kind() == reflect.Pointer:
		return n.lacks(of.Elem(), defs)
	case of.Kind() == reflect.Slice && n.Items != nil:
		return n.Items.lacks(of.Elem(), defs)
	case of.Kind() != reflect.Struct || of.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return nil
	}
	for _, f := range reflect.VisibleFields(of) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		property, found := n.Properties[name]
		if !found {
			fields = append(fields, name)
			continue
		}
		for _, inner := range property.lacks(f.Type, defs) {
			fields = append(fields, name+"."+inner)
		}
	}
	return fields
}

// What faults prints, on a program that has some.
func TestSchemaOfFaults(t *testing.T) {
	h := host{program: buildProgram(t)}
	r := h.run(t, "faults", "--json", "--", "true")
	if r.code == exitFailed {
		t.Skip(r.stderr)
	}
	validateStrictly(t, "faults", "faults", "", r.stdout)
}
