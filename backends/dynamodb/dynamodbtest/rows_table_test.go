package dynamodbtest_test

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
)

func tableRows() []row {
	return []row{
		{"D2 a table is described", func(w world) {
			out, err := w.client.DescribeTable(w.ctx, &dynamodb.DescribeTableInput{TableName: &w.table})
			require.NoError(w.t, err)
			require.Equal(w.t, types.TableStatusActive, out.Table.TableStatus)
			require.Equal(w.t, types.BillingModePayPerRequest, out.Table.BillingModeSummary.BillingMode)
			require.Equal(w.t, []types.KeySchemaElement{
				{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash},
				{AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
			}, out.Table.KeySchema)
			require.ElementsMatch(w.t, []types.AttributeDefinition{
				{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS},
				{AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeN},
			}, out.Table.AttributeDefinitions)
			require.Contains(w.t, *out.Table.TableArn, "table/"+w.table)
			require.Empty(w.t, out.Table.LocalSecondaryIndexes)
			require.Empty(w.t, out.Table.Replicas)
			require.Nil(w.t, out.Table.RestoreSummary)
		}},
		{"D2 a table is made once", func(w world) {
			require.Equal(w.t, "ResourceInUseException", code(createTable(w.ctx, w.client, w.table)))
		}},
		{"D2 a table that is gone is not found", func(w world) {
			w.put(key("a", 1))
			_, err := w.client.DeleteTable(w.ctx, &dynamodb.DeleteTableInput{TableName: &w.table})
			require.NoError(w.t, err)
			require.Equal(w.t, "ResourceNotFoundException", code(w.tryPut(key("a", 1))))
			_, err = w.client.DescribeTable(w.ctx, &dynamodb.DescribeTableInput{TableName: &w.table})
			require.Equal(w.t, "ResourceNotFoundException", code(err))
			_, err = w.client.DeleteTable(w.ctx, &dynamodb.DeleteTableInput{TableName: &w.table})
			require.Equal(w.t, "ResourceNotFoundException", code(err))
			require.NoError(w.t, createTable(w.ctx, w.client, w.table))
			require.Empty(w.t, w.sortKeys("a"), "the new one is empty")
		}},
		{"D2 deletion protection protects", func(w world) {
			update := func(on bool) {
				_, err := w.client.UpdateTable(w.ctx, &dynamodb.UpdateTableInput{TableName: &w.table, DeletionProtectionEnabled: &on})
				require.NoError(w.t, err)
			}
			update(true)
			_, err := w.client.DeleteTable(w.ctx, &dynamodb.DeleteTableInput{TableName: &w.table})
			require.Equal(w.t, validation, code(err))
			update(false)
			_, err = w.client.DeleteTable(w.ctx, &dynamodb.DeleteTableInput{TableName: &w.table})
			require.NoError(w.t, err)
		}},
		{"D2 tables are listed in pages", func(w world) {
			seen := false
			in := &dynamodb.ListTablesInput{Limit: aws.Int32(7)}
			for {
				out, err := w.client.ListTables(w.ctx, in)
				require.NoError(w.t, err)
				require.LessOrEqual(w.t, len(out.TableNames), 7)
				for _, name := range out.TableNames {
					seen = seen || name == w.table
				}
				if in.ExclusiveStartTableName = out.LastEvaluatedTableName; in.ExclusiveStartTableName == nil {
					break
				}
			}
			require.True(w.t, seen)
		}},
		{"D2 wrong tables are refused", func(w world) {
			base := func() *dynamodb.CreateTableInput {
				return &dynamodb.CreateTableInput{
					TableName: aws.String(w.table + "-x"), BillingMode: types.BillingModePayPerRequest,
					AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}},
					KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}},
				}
			}
			for name, change := range map[string]func(*dynamodb.CreateTableInput){
				"no attribute":      func(in *dynamodb.CreateTableInput) { in.AttributeDefinitions = nil },
				"no key":            func(in *dynamodb.CreateTableInput) { in.KeySchema = nil },
				"a sort key alone":  func(in *dynamodb.CreateTableInput) { in.KeySchema[0].KeyType = types.KeyTypeRange },
				"no throughput":     func(in *dynamodb.CreateTableInput) { in.BillingMode = types.BillingModeProvisioned },
				"another attribute": func(in *dynamodb.CreateTableInput) { in.KeySchema[0].AttributeName = aws.String("other") },
				"a key of booleans": func(in *dynamodb.CreateTableInput) { in.AttributeDefinitions[0].AttributeType = "BOOL" },
				"the same key twice": func(in *dynamodb.CreateTableInput) {
					in.KeySchema = append(in.KeySchema, types.KeySchemaElement{AttributeName: aws.String("pk"), KeyType: types.KeyTypeRange})
				},
			} {
				in := base()
				change(in)
				_, err := w.client.CreateTable(w.ctx, in)
				require.Equal(w.t, validation, code(err), name)
			}
			_, err := w.client.CreateTable(w.ctx, base())
			require.NoError(w.t, err, "a table without sort key")
			w.table += "-x"
			w.put(attributes{"pk": str("a")})
			require.Equal(w.t, attributes{"pk": str("a")}, w.get(attributes{"pk": str("a")}))
		}},
		{"D2 time to live is kept", func(w world) {
			in := &dynamodb.DescribeTimeToLiveInput{TableName: &w.table}
			out, err := w.client.DescribeTimeToLive(w.ctx, in)
			require.NoError(w.t, err)
			require.Equal(w.t, types.TimeToLiveStatusDisabled, out.TimeToLiveDescription.TimeToLiveStatus)
			_, err = w.client.UpdateTimeToLive(w.ctx, &dynamodb.UpdateTimeToLiveInput{TableName: &w.table, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("ttl"), Enabled: aws.Bool(true)}})
			require.NoError(w.t, err)
			out, err = w.client.DescribeTimeToLive(w.ctx, in)
			require.NoError(w.t, err)
			require.Equal(w.t, types.TimeToLiveStatusEnabled, out.TimeToLiveDescription.TimeToLiveStatus)
			require.Equal(w.t, "ttl", *out.TimeToLiveDescription.AttributeName)
		}},
		{"D2 point-in-time recovery is kept", func(w world) {
			in := &dynamodb.DescribeContinuousBackupsInput{TableName: &w.table}
			out, err := w.client.DescribeContinuousBackups(w.ctx, in)
			require.NoError(w.t, err)
			require.Equal(w.t, types.PointInTimeRecoveryStatusDisabled, out.ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus)
			_, err = w.client.UpdateContinuousBackups(w.ctx, &dynamodb.UpdateContinuousBackupsInput{TableName: &w.table, PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)}})
			require.NoError(w.t, err)
			out, err = w.client.DescribeContinuousBackups(w.ctx, in)
			require.NoError(w.t, err)
			require.Equal(w.t, types.PointInTimeRecoveryStatusEnabled, out.ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus)
		}},
		{"D2 tags are kept", func(w world) {
			described, err := w.client.DescribeTable(w.ctx, &dynamodb.DescribeTableInput{TableName: &w.table})
			require.NoError(w.t, err)
			arn := described.Table.TableArn
			_, err = w.client.TagResource(w.ctx, &dynamodb.TagResourceInput{ResourceArn: arn, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b"), Value: aws.String("2")}}})
			require.NoError(w.t, err)
			_, err = w.client.UntagResource(w.ctx, &dynamodb.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"a"}})
			require.NoError(w.t, err)
			out, err := w.client.ListTagsOfResource(w.ctx, &dynamodb.ListTagsOfResourceInput{ResourceArn: arn})
			require.NoError(w.t, err)
			require.Equal(w.t, []types.Tag{{Key: aws.String("b"), Value: aws.String("2")}}, out.Tags)
		}},
	}
}
