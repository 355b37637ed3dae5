// Package policies compiles the admission policies of our manifests as an API server would.
package policies

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/util/yaml"
	plugin "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/google/cel-go/cel"
)

// oldest is the first release in which the policies are a stable API, and the oldest that we support.
var oldest = version.MajorMinor(1, 30)

// expression is one CEL text of a policy, as the API server's compiler wants it.
type expression struct {
	name, text string
	returns    *cel.Type
}

func (e expression) GetName() string          { return e.name }
func (e expression) GetExpression() string    { return e.text }
func (e expression) ReturnTypes() []*cel.Type { return []*cel.Type{e.returns} }

// TestPoliciesCompileForTheOldestRelease compiles every expression of our manifests in the environment that the API server
// of that release has, so that nothing newer slips in.
func TestPoliciesCompileForTheOldestRelease(t *testing.T) {
	policies := policiesIn(t, "../../../manifests/*.yaml")
	if len(policies) < 4 {
		t.Fatalf("%d policies found", len(policies))
	}
	for _, policy := range policies {
		compiler, err := plugin.NewCompositedCompiler(environment.MustBaseEnvSet(oldest))
		if err != nil {
			t.Fatal(err)
		}
		variables := plugin.OptionalVariableDeclarations{HasParams: policy.Spec.ParamKind != nil, HasAuthorizer: true}
		messages := plugin.OptionalVariableDeclarations{HasParams: policy.Spec.ParamKind != nil}
		check := func(e expression, compiled plugin.CompilationResult) {
			if compiled.Error != nil {
				t.Errorf("%s: %s: %v", policy.Name, e.name, compiled.Error)
			}
		}
		for _, each := range policy.Spec.Variables {
			e := expression{each.Name, each.Expression, cel.DynType}
			check(e, compiler.CompileAndStoreVariable(anyType{e}, variables, environment.NewExpressions))
		}
		for _, each := range policy.Spec.MatchConditions {
			e := expression{each.Name, each.Expression, cel.BoolType}
			check(e, compiler.CompileCELExpression(e, variables, environment.NewExpressions))
		}
		for _, each := range policy.Spec.Validations {
			e := expression{"expression", each.Expression, cel.BoolType}
			check(e, compiler.CompileCELExpression(e, variables, environment.NewExpressions))
			if each.MessageExpression != "" {
				e := expression{"messageExpression", each.MessageExpression, cel.StringType}
				check(e, compiler.CompileCELExpression(e, messages, environment.NewExpressions))
			}
		}
	}
}

// TestNewerSyntaxIsRefused shows that the test above can fail.
func TestNewerSyntaxIsRefused(t *testing.T) {
	compiler := plugin.NewCompiler(environment.MustBaseEnvSet(oldest))
	for _, text := range []string{"[[1], [2]].flatten() == []", "[1].all(i, v, v > i)"} {
		e := expression{"newer", text, cel.BoolType}
		if compiler.CompileCELExpression(e, plugin.OptionalVariableDeclarations{}, environment.NewExpressions).Error == nil {
			t.Errorf("%s compiles", text)
		}
	}
}

// anyType lets a variable give what it likes.
type anyType struct{ expression }

func (anyType) ReturnTypes() []*cel.Type { return []*cel.Type{cel.AnyType, cel.DynType} }

func policiesIn(t *testing.T, pattern string) []admissionv1.ValidatingAdmissionPolicy {
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var found []admissionv1.ValidatingAdmissionPolicy
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
		for {
			var policy admissionv1.ValidatingAdmissionPolicy
			err := documents.Decode(&policy)
			if errors.Is(err, io.EOF) {
				break
			}
			if err == nil && policy.Kind == "ValidatingAdmissionPolicy" {
				found = append(found, policy)
			}
		}
	}
	return found
}
