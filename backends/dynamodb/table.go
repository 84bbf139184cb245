package dynamodb

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func checkTableName(table string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9_.-]{3,255}$`).MatchString(table) {
		return &eventstore.InvalidError{Field: "table", Reason: fmt.Sprintf("%.80q is not 3 to 255 letters, digits, '_', '-' and '.'", table)}
	}
	return nil
}

// CreateCommand returns the commands of the AWS command line that make a table for a
// store: on demand, with deletion protection and point-in-time recovery. An empty
// region is the command line's own.
func CreateCommand(table, region string) string {
	where := ""
	if region != "" {
		where = " --region " + region
	}
	return fmt.Sprintf(`aws dynamodb create-table%[2]s --table-name %[1]s \
  --attribute-definitions AttributeName=pk,AttributeType=S AttributeName=sk,AttributeType=N \
  --key-schema AttributeName=pk,KeyType=HASH AttributeName=sk,KeyType=RANGE \
  --billing-mode PAY_PER_REQUEST --deletion-protection-enabled
aws dynamodb wait table-exists%[2]s --table-name %[1]s
aws dynamodb update-continuous-backups%[2]s --table-name %[1]s \
  --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true
`, table, where)
}

// CloudFormation returns a template's resource for a store's table, with what
// [CreateCommand] gives it. The table outlives its stack.
func CloudFormation(table string) string {
	return fmt.Sprintf(`Resources:
  EventStore:
    Type: AWS::DynamoDB::Table
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties:
      TableName: %s
      BillingMode: PAY_PER_REQUEST
      DeletionProtectionEnabled: true
      PointInTimeRecoverySpecification:
        PointInTimeRecoveryEnabled: true
      AttributeDefinitions:
        - AttributeName: pk
          AttributeType: S
        - AttributeName: sk
          AttributeType: N
      KeySchema:
        - AttributeName: pk
          KeyType: HASH
        - AttributeName: sk
          KeyType: RANGE
`, table)
}

// Rights are what a principal may do to a store.
type Rights int

const (
	// ReadRights are for those who read events, checkpoints and snapshots.
	ReadRights Rights = iota
	// WriteRights are for those who also append and keep checkpoints and snapshots.
	WriteRights
	// CheckRights are for [Check], which scans and repairs a restored table.
	CheckRights
)

// Policy returns the least IAM policy for a store, as JSON. The table's ARN names
// any account and region; narrow it where you know them. A namespace narrows the
// policy to its store, except where a scan is needed.
func Policy(table, namespace string, rights Rights) string {
	actions := []string{"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"}
	if rights >= WriteRights {
		actions = append(actions, "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem")
	}
	if rights >= CheckRights {
		actions = append(actions, "dynamodb:Scan")
	}
	resource := "arn:aws:dynamodb:*:*:table/" + table
	items := map[string]any{"Effect": "Allow", "Action": actions, "Resource": resource}
	if namespace != "" && rights < CheckRights {
		items["Condition"] = map[string]any{"ForAllValues:StringLike": map[string]any{"dynamodb:LeadingKeys": []string{namespace + "/*"}}}
	}
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(map[string]any{
		"Version": "2012-10-17",
		"Statement": []any{
			items,
			map[string]any{"Effect": "Allow", "Action": []string{"dynamodb:DescribeTable"}, "Resource": resource},
		},
	})
	if err != nil {
		return err.Error() // maps of texts can be encoded
	}
	return out.String()
}

// Setup returns what an operator needs for the store that a URL names, as text: the
// commands that make its table, a CloudFormation template, and the least rights of
// those who use it.
func Setup(u *url.URL) (string, error) {
	t, err := parseURL(u)
	if err != nil {
		return "", err
	}
	policy := func(rights Rights) string { return Policy(t.table, t.options.Namespace, rights) }
	return fmt.Sprintf(`# The table, with the AWS command line:
%s
# The same with CloudFormation:
%s
# The least rights of applications that write:
%s
# of those that read:
%s
# and of the check after a restore:
%s`, CreateCommand(t.table, t.region), CloudFormation(t.table), policy(WriteRights), policy(ReadRights), policy(CheckRights)), nil
}
